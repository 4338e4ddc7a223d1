"""What trains packs: this process, or Ray Tune."""
