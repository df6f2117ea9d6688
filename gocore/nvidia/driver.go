package nvidia

import (
	"errors"
	"fmt"
)

// ErrDriver: there is no NVIDIA driver, or it can't be used.
var ErrDriver = errors.New("no usable NVIDIA driver")

// NeededVersion is the CUDA version that a driver must support: libraries of
// CUDA 13.x run on every driver from that of CUDA 13.0 on.
const NeededVersion = 13000

// neededRelease is the first release of the driver that supports it.
const neededRelease = "580"

// Device is an NVIDIA GPU.
type Device struct {
	// Number is the one in "cuda:1": of the devices that this process may use.
	Number int
	Name   string
	// Memory is all of its memory, in bytes.
	Memory uint64
	// Major and Minor are its compute capability, such as 9 and 0.
	Major, Minor int
}

// Driver is what the driver tells of itself.
type Driver struct {
	// Version is the newest CUDA version that it supports, such as 13000 for 13.0.
	Version int
	Devices []Device
}

// version writes a version of CUDA as people do.
func version(number int) string { return fmt.Sprintf("%d.%d", number/1000, number%1000/10) }

// tooOld says that a driver can't run this version of CUDA.
func tooOld(number int) error {
	return fmt.Errorf("nvidia: the NVIDIA driver supports CUDA up to %s, but %s is needed: "+
		"install release %s or later of the driver, or use device=\"cpu\": %w",
		version(number), version(NeededVersion), neededRelease, ErrDriver)
}

// noDriver says why the driver's library can't be opened.
func noDriver(why string) error {
	return fmt.Errorf("nvidia: there is no NVIDIA driver (%s): install release %s or later, start a container with its GPUs "+
		"(docker run --gpus all), or use device=\"cpu\": %w", why, neededRelease, ErrDriver)
}

// noDevice is the number of the error that says that there is none.
const noDevice = 100

// remedies are what to do about the driver's errors, by their numbers.
var remedies = map[int]string{
	2:        "its memory is full: end other programs that use it",
	34:       "the libcuda.so.1 that was found is a stub for building programs: take its folder off LD_LIBRARY_PATH",
	35:       "install release " + neededRelease + " or later of the driver",
	46:       "another process holds the device alone: end it",
	noDevice: "there is no NVIDIA GPU that this process may use: check CUDA_VISIBLE_DEVICES and `nvidia-smi`, and in a container that it was started with its GPUs",
	101:      "there is no device of this number: check CUDA_VISIBLE_DEVICES and `nvidia-smi`",
	802:      "the system is not ready: start the service nvidia-fabricmanager",
	803:      "the driver's library and its kernel module differ in version: restart the machine after an update of the driver",
	804:      "this GPU does not support the libraries of cuda-compat: take them off LD_LIBRARY_PATH",
	999:      "reload the driver's kernel modules (nvidia_uvm), or restart the machine",
}

// failed says that a call to the driver returned an error.
func failed(call string, code int, description string) error {
	remedy, known := remedies[code]
	if !known {
		remedy = "check that `nvidia-smi` works"
	}
	return fmt.Errorf("nvidia: the NVIDIA driver can't be used: %s failed with error %d, %s: %s, or use device=\"cpu\": %w",
		call, code, description, remedy, ErrDriver)
}
