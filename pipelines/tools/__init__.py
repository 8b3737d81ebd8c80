"""What people look at graphs and elements with: drawings, schema, descriptions, checks."""
