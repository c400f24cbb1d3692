"""How far results may lie apart, one constant a claim, each with its reason and what was measured."""

# Worst element of a network's raw output, as a share of the output's largest magnitude, against OpenCV DNN 4.14 in
# float32 with its Winograd switched off. OpenCV sums in float32; ours sums in float64 and stays within 1.5e-5 of the
# float64 executor. Measured: 5.6e-5 (yolov4, random weights), under 2e-5 for every other network.
NETWORK_OUTPUT = 1e-4

# Whole detections against OpenCV, whose batch norm has epsilon 1e-6 where the converter's default is 1e-5.
# Measured on ten photographs: 0.06 pixels, 0.0016.
DETECTION_BOX_PIXELS = 2.0
DETECTION_SCORE = 0.01


# Operations. Ours compute in float64 and round once, so every limit below is a number of roundings.

# What the one rounding to float32 may cost, as a share of the result: half a unit in the last place (IEEE 754).
FLOAT32_ROUNDING = 2.0**-24
FLOAT32_EPSILON = 2.0**-23
FLOAT64_EPSILON = 2.0**-52

# Two float64 sums of the same terms in different orders, in float64 epsilons times the sum of the absolute terms (for
# a convolution: conv(|x|, |w|)). Measured over 8 seeds against PyTorch: 10.4 (connected, 1122 terms), 3.5
# (convolution, up to 298 terms), 2.6 (batch norm), 2.3 (average pooling), 0 (weighted sums).
FLOAT64_SUM_UNITS = 16

# Two float64 formulas for the same function, in float64 epsilons times the result. Measured on 310,000 points:
# 2.6 (mish), 2.1 (swish), 2.0 (sigmoid), 4.3 (softmax), 0 for the piecewise linear ones.
FLOAT64_FUNCTION_UNITS = 8

# PyTorch's float32 convolution against ours, in float32 epsilons times conv(|x|, |w|): the error is PyTorch's, which
# sums in float32. Measured over 8 seeds: 5.4.
TORCH_FLOAT32_CONV_UNITS = 10

# Small layers against AlexeyAB's C code, which sums in float32 and takes float32's exp, as a share of the output's
# largest magnitude. Measured: 2.4e-7 (a product of two convolutions and a sigmoid).
DARKNET_LAYER = 6e-7

# Average precision on 80 photographs against figures that are stated to three digits.
# Measured: 0.0005.
AVERAGE_PRECISION = 0.003

# EfficientDet's features, BiFPN cells and raw heads against effdet, as a share of the largest value.
EFFDET = 1e-4

# The fast engine. Its sums run in float32, so the limits of its kernels are float32 roundings; those of convolutions
# stand in `pure_detect/engine/kernel_table.py`, a row a kernel.

# Activations by the vector exponential, as a share of the largest value (at least 1), the convolution before it
# included. Measured: 4.4e-7.
FAST_ACTIVATION = 4e-6

# Whole networks with random weights on the fast engine against the reference executor, as a share of each output's
# largest value: depth multiplies float32 roundings. Measured on AVX2 and AVX-512: up to 5.4e-5 with Winograd's method,
# which rounds several times as coarsely, and 2.8e-5 without it. For one network the picture of the test is an
# ill-conditioned one: yolov4 is off by 2.2e-4 on AVX2 and 4.1e-4 on AVX-512 (direct: 1.9e-4), and by 6e-5 at most on
# eight other pictures.
FAST_NETWORK = 1.5e-4
FAST_NETWORK_ILL_CONDITIONED = {"yolov4": 8e-4}

# An exported network in onnxruntime 1.32, which sums in float32, as a share of each output's largest magnitude.
# Measured: 1.2e-6 (softmax), under 5e-7 for other layers; 4.1e-5 (SSDLite) for whole networks.
ONNXRUNTIME_LAYER = 2e-6
ONNXRUNTIME_NETWORK = 1e-4
