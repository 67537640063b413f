"""A run's folder: what photos and models left behind, and the tables read from it."""
