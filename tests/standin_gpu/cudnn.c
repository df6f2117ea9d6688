/* libcudnn.so.9, a stand-in: every graph of operations is supported, by one engine that needs no memory and computes
 * nothing. STANDIN_GPU_CUDNN is its version (91900: 9.19.0). */
#include "driver.h"

#include <stdlib.h>
#include <string.h>

size_t cudnnGetVersion(void) {
    const char *version = getenv("STANDIN_GPU_CUDNN");
    return version && *version ? strtoul(version, NULL, 10) : 91900;
}

const char *cudnnGetErrorString(int status) { return status ? "a stand-in's error" : "CUDNN_STATUS_SUCCESS"; }

void cudnnGetLastErrorString(char *message, size_t size) {
    if (size) *message = 0;
}

int cudnnGetStream(void *handle, void **stream) {
    (void)handle;
    *stream = NULL;
    return 0;
}

int cudnnBackendCreateDescriptor(int type, void **descriptor) {
    (void)type;
    *descriptor = calloc(1, 16);
    return *descriptor ? 0 : 2;
}

int cudnnBackendDestroyDescriptor(void *descriptor) {
    free(descriptor);
    return 0;
}

/* CUDNN_ATTR_ENGINEHEUR_RESULTS and CUDNN_ATTR_ENGINECFG_ENGINE */
enum { ENGINES_FOUND = 202, ENGINE_OF_CONFIGURATION = 300 };

/* Bytes of a number, by cudnnBackendAttributeType_t: booleans, 64 bits, 32 bits; 0 for everything else. */
static size_t number(int type) { return type == 2 ? 1 : type == 3 ? 8 : type == 23 ? 4 : 0; }

/* Descriptors are the caller's: it makes as many as it wants, and they are filled. Numbers are zero, lists empty. */
int cudnnBackendGetAttribute(void *descriptor, int attribute, int type, int64_t wanted, int64_t *count, void *values) {
    (void)descriptor;
    int there = number(type) || attribute == ENGINES_FOUND || attribute == ENGINE_OF_CONFIGURATION;
    if (count) *count = there;
    if (values && wanted > 0) memset(values, 0, number(type));
    return 0;
}

int cudnnBackendExecute(void) {
    const struct driver *d = find_driver();
    return d && d->work(0, 0) == OK ? 0 : 5000; /* CUDNN_STATUS_EXECUTION_FAILED */
}
