"""Reports on the API and on the servers that it uses, under the scope `monitoring:read`."""
