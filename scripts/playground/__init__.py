"""A page in the browser to play with the model: what it shows, and the small server behind it."""
