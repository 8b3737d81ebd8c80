"""Frame processors of somebody who writes for pipecat and has never heard of Tolmach."""
