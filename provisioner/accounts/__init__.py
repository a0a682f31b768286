"""Who somebody is and what they may do: accounts, tokens, passwords, SSH keys."""
