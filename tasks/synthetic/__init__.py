"""Generated payments: made-up rows of a South African wallet, and the months that hold them."""
