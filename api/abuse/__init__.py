"""Protection against abuse: rate limits, the watch over requests, and blocking of addresses that attack."""
