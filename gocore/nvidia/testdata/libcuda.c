// A stand-in for the driver's library: as many devices, of such a version, and
// such errors as the environment says.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int setting(const char *name, int otherwise) {
	const char *value = getenv(name);
	return value ? atoi(value) : otherwise;
}

static int count(void) { return setting("STANDIN_DEVICES", 1); }

int cuInit(unsigned flags) { return flags ? 1 : setting("STANDIN_INIT", 0); }

int cuDriverGetVersion(int *version) {
	*version = setting("STANDIN_VERSION", 13010);
	return 0;
}

int cuDeviceGetCount(int *n) {
	*n = count();
	return 0;
}

// Handles of devices are not their numbers.
int cuDeviceGet(int *device, int number) {
	*device = number + 7;
	return number < 0 || number >= count() ? 101 : 0;
}

int cuDeviceGetName(char *name, int size, int device) {
	snprintf(name, size, "Stand-in %d", device - 7);
	return 0;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
	*bytes = ((size_t)80 << 30) + device - 7;
	return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
	*value = attribute == 75 ? 9 : attribute == 76 ? device - 7 : -1;
	return 0;
}

static int retained, current;

int cuDevicePrimaryCtxRetain(void **context, int device) {
	retained++;
	*context = (void *)(size_t)device;
	return setting("STANDIN_RETAIN", 0);
}

int cuDevicePrimaryCtxRelease_v2(int device) {
	retained--;
	return 0;
}

int cuCtxPushCurrent_v2(void *context) {
	if (current) return 201;
	current = (int)(size_t)context;
	return 0;
}

int cuCtxPopCurrent_v2(void **context) {
	*context = (void *)(size_t)current;
	current = 0;
	return 0;
}

int cuMemGetInfo_v2(size_t *available, size_t *total) {
	if (retained != 1 || !current) return 201;
	*available = ((size_t)70 << 30) + current - 7;
	*total = ((size_t)79 << 30) + current - 7;
	return 0;
}

int cuGetErrorString(int error, const char **text) {
	*text = error == 100 ? "no CUDA-capable device is detected" : NULL;
	return error == 100 ? 0 : 1;
}
