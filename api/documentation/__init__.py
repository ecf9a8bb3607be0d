"""The OpenAPI document and the interactive page that shows it."""
