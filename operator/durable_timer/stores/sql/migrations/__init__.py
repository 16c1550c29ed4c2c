"""The migrations, as files of the package."""
