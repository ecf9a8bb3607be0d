"""A month's way through the tiers: the plan, rollover, hot to warm, and warm to cold with its proof."""
