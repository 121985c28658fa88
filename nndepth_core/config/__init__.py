"""Settings of classes from YAML files and the command line."""
