"""What the object store really does, found by trying: `treasury storage-check`."""
