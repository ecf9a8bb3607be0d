"""API keys as bearer tokens: authentication, and throttling of failed attempts."""
