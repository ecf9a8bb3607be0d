"""A fourth supplier in one folder: Voucherly, made up for this example. Explained in docs/suppliers.md."""
