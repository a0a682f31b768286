"""Who may log in and what they may do: accounts, tokens, passwords, SSH keys."""
