"""What the API tells about itself and about what it stands on, under the scope `monitoring:read`."""
