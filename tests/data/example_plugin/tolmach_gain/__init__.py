"""A volume control for Tolmach."""
