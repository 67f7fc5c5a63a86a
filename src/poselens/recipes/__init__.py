"""Complete runs as YAML files whose first comment lines state the claim."""
