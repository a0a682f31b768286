"""What is shown of the tables: one model per thing, the same in the API and on the pages."""
