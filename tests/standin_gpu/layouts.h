/* Structures that the CUDA runtime fills for a program, as version 13.0 documents them (CUDA Runtime API, Data
 * structures). What the stand-in leaves zero is space, with the fields' names beside it. */
#pragma once

#include <stddef.h>

struct device_properties { /* cudaDeviceProp */
    char name[256];
    char uuid[16], luid[8];
    unsigned luid_mask;
    size_t total_memory;
    size_t shared_per_block;
    int registers_per_block;
    int warp;
    size_t memory_pitch;
    int max_threads_per_block;
    int max_block[3];
    int max_grid[3];
    size_t constant_memory;
    int major, minor;
    size_t texture_alignment, texture_pitch_alignment;
    int multiprocessors;
    int integrated, map_host_memory;
    int textures[1 + 1 + 2 + 2 + 3 + 2 + 3 + 3 + 1 + 2 + 3 + 2]; /* maxTexture1D … maxTextureCubemapLayered */
    int surfaces[1 + 2 + 3 + 2 + 3 + 1 + 2];                    /* maxSurface1D … maxSurfaceCubemapLayered */
    size_t surface_alignment;
    int concurrent_kernels;
    int ecc, pci_bus, pci_device, pci_domain, tcc, async_engines, unified_addressing, memory_bus_width;
    int l2_cache;
    int persisting_l2_cache;
    int max_threads_per_multiprocessor;
    int stream_priorities, global_l1, local_l1;
    size_t shared_per_multiprocessor;
    int registers_per_multiprocessor;
    int managed_memory, multi_gpu_board, multi_gpu_board_group, host_native_atomic, pageable_access,
        concurrent_managed_access, compute_preemption, registered_host_pointer;
    int cooperative_launch;
    size_t shared_per_block_optin;
    int host_page_tables, direct_managed_access;
    int max_blocks_per_multiprocessor;
    int access_policy_window;
    size_t reserved_shared_per_block;
    int host_register, sparse_arrays, host_register_read_only, timeline_semaphores;
    int memory_pools;
    int rest[14 + 56]; /* gpuDirectRDMASupported … hostNumaMultinodeIpcSupported, reserved */
};

struct pointer_attributes { /* cudaPointerAttributes */
    int type; /* as enum place */
    int device;
    void *device_pointer, *host_pointer;
    long reserved[8];
};

struct function_attributes { /* cudaFuncAttributes */
    size_t shared, constant, local;
    int max_threads_per_block;
    int registers;
    int ptx_version, binary_version;
    int cache_mode;
    int max_dynamic_shared;
    int shared_carveout;
    int cluster[6]; /* clusterDimMustBeSet … nonPortableClusterSizeAllowed */
    int reserved[16];
};
