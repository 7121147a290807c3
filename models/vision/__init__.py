"""Objects in frames: detector, tracker and their evaluation. numpy, torch, OpenCV, ONNX Runtime."""
