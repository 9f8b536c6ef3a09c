"""What a deployment needs: the image and files for TensorFlow Serving, Docker and Kubernetes."""
