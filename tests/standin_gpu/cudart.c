/* libcudart.so.13, a stand-in for the CUDA runtime over driver.c: memory and copies are real, kernels do nothing.
 * Functions that need not do anything are written by build.py.
 *
 * Layouts are those of the CUDA Runtime API 13.0, Data structures: cudaDeviceProp, cudaFuncAttributes,
 * cudaPointerAttributes. */
#include "layouts.h"

#include "driver.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* As NVIDIA's libraries do, it takes a signal for itself when it starts. */
__attribute__((constructor)) static void take_a_signal(void) { signal(SIGUSR2, SIG_IGN); }

static __thread int last_error;

static int note(int error) {
    if (error != OK) last_error = error;
    return error;
}

/* Without a driver the runtime says what it says of one that is too old. */
static int usable(void) {
    const struct driver *d = find_driver();
    return d ? d->state() : DRIVER_TOO_OLD;
}

#define NEED_DEVICE                               \
    int unusable = usable();                      \
    if (unusable != OK) return note(unusable);    \
    const struct driver *d = find_driver()

/* Errors */

int cudaGetLastError(void) {
    int error = last_error;
    last_error = OK;
    return error;
}

int cudaPeekAtLastError(void) { return last_error; }

static const struct {
    int number;
    const char *name, *text;
} ERRORS[] = {
    {OK, "cudaSuccess", "no error"},
    {INVALID_VALUE, "cudaErrorInvalidValue", "invalid argument"},
    {OUT_OF_MEMORY, "cudaErrorMemoryAllocation", "out of memory"},
    {DRIVER_TOO_OLD, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {NO_DEVICE, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {NO_SUCH_DEVICE, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {LAUNCH_FAILED, "cudaErrorLaunchFailure", "unspecified launch failure"},
};

const char *cudaGetErrorName(int error) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].number == error) return ERRORS[i].name;
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(int error) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].number == error) return ERRORS[i].text;
    return "unknown error";
}

/* Devices */

int cudaDriverGetVersion(int *version) {
    const struct driver *d = find_driver();
    *version = d ? d->version() : 0;
    return OK;
}

int cudaRuntimeGetVersion(int *version) {
    *version = CUDA_VERSION;
    return OK;
}

int cudaGetDeviceCount(int *n) {
    *n = 0;
    NEED_DEVICE;
    *n = d->count();
    return OK;
}

int cudaSetDevice(int device) {
    NEED_DEVICE;
    return note(d->set_device(device));
}

int cudaGetDevice(int *device) {
    NEED_DEVICE;
    *device = d->get_device();
    return OK;
}

static int attribute(int *value, int number, int device) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    int (*ask)(int *, int, int) = driver ? (int (*)(int *, int, int))dlsym(driver, "cuDeviceGetAttribute") : NULL;
    return ask ? ask(value, number, device) : DRIVER_TOO_OLD;
}

int cudaDeviceGetAttribute(int *value, int number, int device) {
    NEED_DEVICE;
    (void)d;
    return note(attribute(value, number, device));
}

int cudaGetDeviceProperties(struct device_properties *p, int device) {
    NEED_DEVICE;
    if (device < 0 || device >= d->count()) return note(NO_SUCH_DEVICE);
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Stand-in H100");
    p->total_memory = d->capacity();
    const struct {
        int number;
        int *into;
    } small[] = {
        {1, &p->max_threads_per_block}, {2, &p->max_block[0]}, {3, &p->max_block[1]}, {4, &p->max_block[2]},
        {5, &p->max_grid[0]}, {6, &p->max_grid[1]}, {7, &p->max_grid[2]}, {10, &p->warp},
        {12, &p->registers_per_block}, {16, &p->multiprocessors}, {31, &p->concurrent_kernels}, {38, &p->l2_cache},
        {39, &p->max_threads_per_multiprocessor}, {75, &p->major}, {76, &p->minor},
        {82, &p->registers_per_multiprocessor}, {95, &p->cooperative_launch}, {106, &p->max_blocks_per_multiprocessor},
        {115, &p->memory_pools},
    };
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) attribute(small[i].into, small[i].number, device);
    const struct {
        int number;
        size_t *into;
    } large[] = {
        {8, &p->shared_per_block}, {81, &p->shared_per_multiprocessor}, {97, &p->shared_per_block_optin},
        {111, &p->reserved_shared_per_block},
    };
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        int value;
        attribute(&value, large[i].number, device);
        *large[i].into = (size_t)value;
    }
    return OK;
}

/* Memory */

static int allocate(void **address, size_t bytes, enum place place) {
    NEED_DEVICE;
    return note(d->allocate(address, bytes, place));
}

static int release(void *address) {
    NEED_DEVICE;
    return note(d->release(address));
}

int cudaMalloc(void **address, size_t bytes) { return allocate(address, bytes, ON_DEVICE); }
int cudaMallocHost(void **address, size_t bytes) { return allocate(address, bytes, PINNED); }
int cudaFree(void *address) { return release(address); }
int cudaFreeHost(void *address) { return release(address); }

int cudaHostAlloc(void **address, size_t bytes, unsigned flags) {
    (void)flags;
    return allocate(address, bytes, PINNED);
}

int cudaMallocFromPoolAsync(void **address, size_t bytes, void *pool, void *stream) {
    (void)pool, (void)stream;
    return allocate(address, bytes, ON_DEVICE);
}

int cudaFreeAsync(void *address, void *stream) {
    (void)stream;
    return release(address);
}

int cudaMemGetInfo(size_t *available, size_t *total) {
    NEED_DEVICE;
    *total = d->capacity();
    *available = d->capacity() - d->counters()->memory;
    return OK;
}

int cudaPointerGetAttributes(struct pointer_attributes *a, const void *address) {
    NEED_DEVICE;
    memset(a, 0, sizeof *a);
    a->type = (int)d->place(address, &a->device);
    if (a->type != PAGEABLE) a->device_pointer = (void *)address;
    if (a->type != ON_DEVICE) a->host_pointer = (void *)address;
    return OK;
}

static int copy(void *to, const void *from, size_t bytes) {
    NEED_DEVICE;
    return note(d->copy(to, from, bytes));
}

int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) {
    (void)kind;
    return copy(to, from, bytes);
}

int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) {
    (void)kind, (void)stream;
    return copy(to, from, bytes);
}

int cudaMemcpy2DAsync(char *to, size_t to_pitch, const char *from, size_t from_pitch, size_t width, size_t height,
                      int kind, void *stream) {
    (void)kind, (void)stream;
    for (size_t row = 0; row < height; row++) {
        int error = copy(to + row * to_pitch, from + row * from_pitch, width);
        if (error != OK) return error;
    }
    return OK;
}

/* Nothing computes a symbol, so it is zero. */
int cudaMemcpyFromSymbol(void *to, const void *symbol, size_t bytes, size_t offset, int kind) {
    (void)symbol, (void)offset, (void)kind;
    memset(to, 0, bytes);
    return OK;
}

int cudaMemset(void *to, int value, size_t bytes) {
    NEED_DEVICE;
    if (d->alive() != OK) return note(LAUNCH_FAILED);
    memset(to, value, bytes);
    return OK;
}

int cudaMemsetAsync(void *to, int value, size_t bytes, void *stream) {
    (void)stream;
    return cudaMemset(to, value, bytes);
}

/* Streams and events: everything is done when it is asked for. */

static int handle(void **h) {
    NEED_DEVICE;
    (void)d;
    *h = calloc(1, 16);
    return *h ? OK : note(OUT_OF_MEMORY);
}

static int forget(void *h) {
    free(h);
    return OK;
}

int cudaStreamCreate(void **stream) { return handle(stream); }
int cudaEventCreate(void **event) { return handle(event); }
int cudaMemPoolCreate(void **pool, const void *properties) {
    (void)properties;
    return handle(pool);
}
int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    (void)flags;
    return handle(stream);
}
int cudaEventCreateWithFlags(void **event, unsigned flags) {
    (void)flags;
    return handle(event);
}
int cudaStreamDestroy(void *stream) { return forget(stream); }
int cudaEventDestroy(void *event) { return forget(event); }
int cudaMemPoolDestroy(void *pool) { return forget(pool); }

int cudaMemPoolGetAttribute(void *pool, int number, uint64_t *value) {
    (void)pool, (void)number;
    *value = 0;
    return OK;
}

int cudaEventElapsedTime(float *milliseconds, void *from, void *to) {
    (void)from, (void)to;
    *milliseconds = 1;
    return OK;
}

int cudaStreamIsCapturing(void *stream, int *status) {
    (void)stream;
    *status = 0;
    return OK;
}

static int synchronize(void) {
    NEED_DEVICE;
    __atomic_fetch_add(&d->counters()->synchronizations, 1, __ATOMIC_RELAXED);
    return note(d->alive());
}

int cudaDeviceSynchronize(void) { return synchronize(); }
int cudaStreamSynchronize(void *stream) {
    (void)stream;
    return synchronize();
}
int cudaEventSynchronize(void *event) {
    (void)event;
    return synchronize();
}

int cudaLaunchHostFunc(void *stream, void (*call)(void *), void *with) {
    (void)stream;
    call(with);
    return OK;
}

/* Kernels. What nvcc makes of f<<<grid, block, shared, stream>>>(…) pushes the configuration, calls the kernel's stub,
 * and the stub pops it and launches. */

struct dim3 {
    unsigned x, y, z;
};

static __thread struct {
    struct dim3 grid, block;
    size_t shared;
    void *stream;
} pushed;

unsigned __cudaPushCallConfiguration(struct dim3 grid, struct dim3 block, size_t shared, void *stream) {
    pushed.grid = grid, pushed.block = block, pushed.shared = shared, pushed.stream = stream;
    return 0;
}

int __cudaPopCallConfiguration(struct dim3 *grid, struct dim3 *block, size_t *shared, void **stream) {
    *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared, *stream = pushed.stream;
    return OK;
}

static int launch(void) {
    NEED_DEVICE;
    return note(d->work(0, 0));
}

int cudaLaunchKernel(void) { return launch(); }
int __cudaLaunchKernel(void) { return launch(); }
int cudaLaunchKernelExC(void) { return launch(); }
int cudaLaunchCooperativeKernel(void) { return launch(); }

void **__cudaRegisterFatBinary(void *binary) {
    static void *registered[2];
    (void)binary;
    return registered;
}

int __cudaGetKernel(void **kernel, const void *function) {
    *kernel = (void *)function;
    return OK;
}

int cudaLibraryLoadData(void **library) { return handle(library); }
int cudaLibraryUnload(void *library) { return forget(library); }
int cudaLibraryGetKernel(void **kernel, void *library, const char *name) {
    (void)name;
    *kernel = library;
    return OK;
}

int cudaFuncGetAttributes(struct function_attributes *a, const void *function) {
    (void)function;
    memset(a, 0, sizeof *a);
    a->max_threads_per_block = 1024;
    a->registers = 32;
    a->ptx_version = a->binary_version = 90;
    a->max_dynamic_shared = 232448;
    return OK;
}

int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int threads, size_t shared,
                                                           unsigned flags) {
    (void)function, (void)threads, (void)shared, (void)flags;
    *blocks = 1;
    return OK;
}

int cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version, unsigned long long flags,
                                     int *found) {
    (void)version, (void)flags;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    *function = driver ? dlsym(driver, symbol) : NULL;
    if (found) *found = *function ? 0 : 1;
    return OK;
}
