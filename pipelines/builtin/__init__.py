"""Elements that belong to the engine itself: tee, queue, funnel, identity, test_src, fake_sink."""
