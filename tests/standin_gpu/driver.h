/* What the stand-in libraries share. The driver (driver.c, libcuda.so.1) keeps devices, memory and counters; the
 * others find it as NVIDIA's own do: by dlopen, when they first need it (see find_driver). */
#pragma once

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

/* Error numbers of CUDA; those of the driver and of the runtime are the same where both have them. */
enum {
    OK = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    DRIVER_TOO_OLD = 35,
    NO_DEVICE = 100,
    NO_SUCH_DEVICE = 101,
    LAUNCH_FAILED = 719,
};

enum { CUDA_VERSION = 13000, MOST_DEVICES = 16 };

/* Where memory lies, as cudaMemoryType says it. */
enum place { PAGEABLE = 0, PINNED = 1, ON_DEVICE = 2 };

/* What a device has done. STANDIN_GPU_LOG names a file that holds these, MOST_DEVICES times, while the process runs
 * and after it: numbers of 64 bits in this order, in the machine's byte order. gocore/internal/standin reads it. */
struct counters {
    uint64_t memory;           /* bytes allocated now */
    uint64_t peak;             /* the most that it was */
    uint64_t allocations;      /* calls that got memory */
    uint64_t refusals;         /* calls that got none, for want of memory */
    uint64_t to_device;        /* copies from the host */
    uint64_t to_device_bytes;
    uint64_t to_host;          /* copies to the host */
    uint64_t to_host_bytes;
    uint64_t on_device;        /* copies within a device or between two */
    uint64_t on_device_bytes;
    uint64_t launches;         /* kernels, products apart */
    uint64_t products;         /* matrix products of cuBLAS */
    uint64_t product_flop;     /* two operations for each multiplication; cuBLASLt's are not known */
    uint64_t synchronizations; /* waits for a stream, an event or the device */
    uint64_t unused[2];
};

struct driver {
    int (*state)(void);               /* OK, or why nothing can be done: DRIVER_TOO_OLD, NO_DEVICE */
    int (*version)(void);
    int (*count)(void);
    uint64_t (*capacity)(void);       /* bytes of a device */
    int (*get_device)(void);          /* the calling thread's */
    int (*set_device)(int device);
    struct counters *(*counters)(void); /* of the calling thread's device */
    int (*work)(int is_product, uint64_t flop); /* a kernel that does nothing; fails on a dead device */
    int (*alive)(void);               /* fails once the device is dead */
    int (*allocate)(void **address, size_t bytes, enum place place);
    int (*release)(void *address);
    enum place (*place)(const void *address, int *device);
    int (*copy)(void *to, const void *from, size_t bytes);
};

/* The driver, or NULL where there is none: libcuda.so.1 can't be found. */
static inline const struct driver *find_driver(void) {
    static const struct driver *found;
    if (!found) {
        void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        const struct driver *(*get)(void) = library ? (const struct driver *(*)(void))dlsym(library, "standin_driver") : NULL;
        if (get) found = get();
    }
    return found;
}
