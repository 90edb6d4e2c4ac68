"""What every implementation of one kind must do."""
