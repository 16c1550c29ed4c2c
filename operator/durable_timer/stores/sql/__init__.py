"""What the SQL stores share: tables, migrations, the codec between rows and domain types, portable statements."""
