"""Makes what is published: the wheels, the source distribution and the npm package."""
