"""How the exercises are checked, one file a notebook."""
