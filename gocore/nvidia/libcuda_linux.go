//go:build cgo

package nvidia

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { problem_size = 1024, compute_capability_major = 75, compute_capability_minor = 76 };

// The functions of libcuda that are used, by the names that they have in it.
static struct {
	int (*cuInit)(unsigned flags);
	int (*cuDriverGetVersion)(int *version);
	int (*cuDeviceGetCount)(int *count);
	int (*cuDeviceGet)(int *device, int number);
	int (*cuDeviceGetName)(char *name, int size, int device);
	int (*cuDeviceTotalMem_v2)(size_t *bytes, int device);
	int (*cuDeviceGetAttribute)(int *value, int attribute, int device);
	int (*cuDevicePrimaryCtxRetain)(void **context, int device);
	int (*cuDevicePrimaryCtxRelease_v2)(int device);
	int (*cuCtxPushCurrent_v2)(void *context);
	int (*cuCtxPopCurrent_v2)(void **context);
	int (*cuMemGetInfo_v2)(size_t *available, size_t *total);
	int (*cuGetErrorString)(int error, const char **text);
} driver;

// load_library loads a library for good. What went wrong is written into
// problem: dlerror's text belongs to the thread.
static void *load_library(const char *path, char *problem) {
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		const char *text = dlerror();
		snprintf(problem, problem_size, "%s", text ? text : "unknown error of the loader");
	}
	return handle;
}

// tensorrt_version asks TensorRT for its version, 101401 for 10.14.1; 0 without it.
static int tensorrt_version(void) {
	void *handle = dlopen("libnvinfer.so.10", RTLD_NOW | RTLD_LOCAL);
	int (*version)(void) = handle ? (int (*)(void))dlsym(handle, "getInferLibVersion") : NULL;
	return version ? version() : 0;
}

// open_driver opens libcuda and finds its functions; tells whether it did.
static int open_driver(char *problem) {
	void *handle = load_library("libcuda.so.1", problem);
	if (!handle) return 0;
#define FIND(name) \
	if (!(*(void **)&driver.name = dlsym(handle, #name))) { \
		snprintf(problem, problem_size, "libcuda.so.1 has no %s", #name); \
		return 0; \
	}
	FIND(cuInit)
	FIND(cuDriverGetVersion)
	FIND(cuDeviceGetCount)
	FIND(cuDeviceGet)
	FIND(cuDeviceGetName)
	FIND(cuDeviceTotalMem_v2)
	FIND(cuDeviceGetAttribute)
	FIND(cuDevicePrimaryCtxRetain)
	FIND(cuDevicePrimaryCtxRelease_v2)
	FIND(cuCtxPushCurrent_v2)
	FIND(cuCtxPopCurrent_v2)
	FIND(cuMemGetInfo_v2)
	FIND(cuGetErrorString)
#undef FIND
	return 1;
}

// TRY calls the driver. The first error ends the function around it, which
// returns it and the name of the call.
#define TRY(name, ...) do { int error = driver.name(__VA_ARGS__); if (error) { *call = #name; return error; } } while (0)

typedef struct {
	char name[256];
	size_t memory;
	int major, minor;
} device_t;

static int init(const char **call) {
	TRY(cuInit, 0);
	return 0;
}

static int get_version(int *version, const char **call) {
	TRY(cuDriverGetVersion, version);
	return 0;
}

static int count_devices(int *count, const char **call) {
	TRY(cuDeviceGetCount, count);
	return 0;
}

static int describe_device(int number, device_t *described, const char **call) {
	int device;
	TRY(cuDeviceGet, &device, number);
	TRY(cuDeviceGetName, described->name, sizeof described->name, device);
	TRY(cuDeviceTotalMem_v2, &described->memory, device);
	TRY(cuDeviceGetAttribute, &described->major, compute_capability_major, device);
	TRY(cuDeviceGetAttribute, &described->minor, compute_capability_minor, device);
	return 0;
}

// memory_of_current tells the memory of the device whose context is current.
static int memory_of_current(void *context, size_t *available, size_t *total, const char **call) {
	void *popped;
	TRY(cuCtxPushCurrent_v2, context);
	int error = driver.cuMemGetInfo_v2(available, total);
	if (error) *call = "cuMemGetInfo_v2";
	driver.cuCtxPopCurrent_v2(&popped);
	return error;
}

// get_memory is one call, as what is current belongs to the thread.
static int get_memory(int number, size_t *available, size_t *total, const char **call) {
	int device;
	void *context;
	TRY(cuDeviceGet, &device, number);
	TRY(cuDevicePrimaryCtxRetain, &context, device);
	int error = memory_of_current(context, available, total, call);
	driver.cuDevicePrimaryCtxRelease_v2(device);
	return error;
}

static const char *error_text(int error) {
	const char *text = NULL;
	driver.cuGetErrorString(error, &text);
	return text ? text : "which it does not explain";
}
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"
)

var library struct {
	sync.Mutex
	open bool
}

// open opens the driver's library, if that has not been done.
func open() error {
	library.Lock()
	defer library.Unlock()
	if library.open {
		return nil
	}
	problem := (*C.char)(C.malloc(C.problem_size))
	defer C.free(unsafe.Pointer(problem))
	if C.open_driver(problem) == 0 {
		return noDriver(C.GoString(problem))
	}
	library.open = true
	return nil
}

// check makes an error of what a call to the driver returned.
func check(code C.int, call *C.char) error {
	if code == 0 {
		return nil
	}
	return failed(C.GoString(call), int(code), C.GoString(C.error_text(code)))
}

// Query asks the driver what it is and which devices there are; none is an
// error. The first call of a process starts the driver, which may take seconds
// on a machine with many devices. Beside an error stands what is known, such as
// the version and the devices of a driver that is too old. Errors wrap
// [ErrDriver].
func Query() (Driver, error) {
	var d Driver
	if err := open(); err != nil {
		return d, err
	}
	var call *C.char
	var number C.int
	code := C.get_version(&number, &call)
	if err := check(code, call); err != nil {
		return d, err
	}
	d.Version = int(number)
	var err error
	d.Devices, err = devices()
	if d.Version < NeededVersion {
		return d, tooOld(d.Version)
	}
	return d, err
}

// devices are those that this process may use.
func devices() (all []Device, err error) {
	var call *C.char
	code := C.init(&call)
	if err := check(code, call); err != nil {
		return nil, err
	}
	var count C.int
	code = C.count_devices(&count, &call)
	if err := check(code, call); err != nil {
		return nil, err
	}
	if count == 0 {
		return nil, failed("cuDeviceGetCount", noDevice, "as it counts none")
	}
	for number := range int(count) {
		var told C.device_t
		code = C.describe_device(C.int(number), &told, &call)
		if err := check(code, call); err != nil {
			return all, err
		}
		all = append(all, Device{
			Number: number, Name: C.GoString(&told.name[0]), Memory: uint64(told.memory),
			Major: int(told.major), Minor: int(told.minor),
		})
	}
	return all, nil
}

// FreeMemory tells how much memory of a device is free and how much it has, in
// bytes. If nothing in this process uses the device, that alone takes a few
// hundred megabytes while it is asked. Errors wrap [ErrDriver].
func FreeMemory(device int) (free, total uint64, err error) {
	if err := open(); err != nil {
		return 0, 0, err
	}
	var call *C.char
	code := C.init(&call)
	if err := check(code, call); err != nil {
		return 0, 0, err
	}
	var available, all C.size_t
	if code = C.get_memory(C.int(device), &available, &all, &call); code != 0 {
		return 0, 0, failed(fmt.Sprintf("%s for device %d", C.GoString(call), device), int(code), C.GoString(C.error_text(code)))
	}
	return uint64(available), uint64(all), nil
}

// TensorRTVersion is the version of the TensorRT that this process uses, 101401
// for 10.14.1; 0 if there is none.
func TensorRTVersion() int { return int(C.tensorrt_version()) }

func load(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	problem := (*C.char)(C.malloc(C.problem_size))
	defer C.free(unsafe.Pointer(problem))
	if C.load_library(name, problem) == nil {
		return errors.New(C.GoString(problem))
	}
	return nil
}
