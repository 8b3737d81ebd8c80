"""Speech translation with NeMo's Canary models (EncDecMultiTaskModel)."""
