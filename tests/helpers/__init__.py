"""What tests of several rooms share: recorded numbers, tiny data sets, nnU-Net in a process, training steps."""
