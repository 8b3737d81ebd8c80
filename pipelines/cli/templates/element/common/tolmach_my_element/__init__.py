"""The element my_element for Tolmach."""
