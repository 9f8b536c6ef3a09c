"""What a size will cost: laws with measured constants, and the pods that follow from them."""
