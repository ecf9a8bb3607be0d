"""MobileMart, Fulcrum switch: amounts are decimal rand, and a reprint tells what became of a sale."""
