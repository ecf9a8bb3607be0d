"""Access to a Prefect server, and the deployments that it must have. Nothing here imports Prefect."""
