// Package nvidia asks NVIDIA's driver which devices there are and how much of
// their memory is free, and loads the libraries of CUDA that ONNX Runtime needs.
//
// The driver's library, libcuda, is opened when it is first asked: nothing here
// needs it to be there, and it alone knows. Device files say less: a container
// may have a driver without them, and they stay when the driver can't be used.
package nvidia
