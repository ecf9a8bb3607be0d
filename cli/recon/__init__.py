"""`treasury recon`: one module for each subject, which is loaded when one of its commands is called."""
