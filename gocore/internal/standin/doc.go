// Package standin runs tests on stand-in GPUs: ONNX Runtime's own CUDA provider,
// unmodified, over libraries that take the place of NVIDIA's and whose kernels
// do nothing (tests/standin_gpu). Where nodes run, what is copied, which kernels
// are chosen, and how much memory is taken can be tested with them; numbers
// cannot.
package standin
