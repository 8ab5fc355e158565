# The machine, its threads and its memory.

cdef pe_context *context = pe_default_context()


def machine_info():
    """What was found on this machine, as a dict: cpu, isa, isa_best, isa_levels, l1d, l2, l3 (bytes),
    cpus_online, cpus_affinity, cpus_quota (None: unlimited), threads_default."""
    cdef pe_machine m
    pe_machine_info(&m)
    levels = []
    cdef const char *const *level = pe_isa_levels()
    while level[0] != NULL:
        levels.append(level[0].decode())
        level += 1
    return {
        "cpu": m.cpu.decode("utf-8", "replace"), "isa": m.isa.decode(), "isa_best": m.isa_best.decode(),
        "isa_levels": levels, "l1d": m.l1d, "l2": m.l2, "l3": m.l3, "cpus_online": m.cpus_online,
        "cpus_affinity": m.cpus_affinity, "cpus_quota": m.cpus_quota if m.cpus_quota > 0 else None,
        "threads_default": m.threads_default,
    }


def get_num_threads():
    """How many threads a call may use."""
    return pe_get_num_threads(context)


def set_num_threads(n):
    """Lets a call use up to n threads (1 to 256). Results do not depend on it."""
    if not hasattr(n, "__index__"):  # 2.5 threads are a mistake
        raise TypeError(f"set_num_threads: n must be an integer, got {type(n).__name__}")
    if n < 1 or n > 256:
        raise ValueError(f"set_num_threads: n must be 1 to 256, got {n}")
    pe_set_num_threads(context, n)


def set_flush_denormal(bint on):
    """With on, kernels treat denormal numbers as zero (FTZ and DAZ). Returns True."""
    pe_set_flush_denormal(context, on)
    return True


def pool_stats():
    """Counters of the thread pool: parallel_calls, shared_calls (two or more threads took part),
    chunks, worker_chunks, workers."""
    cdef pe_pool_stats s
    pe_pool_statistics(context, &s)
    return {"parallel_calls": s.parallel_calls, "shared_calls": s.shared_calls, "chunks": s.chunks,
            "worker_chunks": s.worker_chunks, "workers": s.workers}


def memory_stats():
    """Bytes in_use (of these, packed: copies of weights laid out for inference), cached, peak and cap, and the
    numbers of allocations, reuses and system_calls."""
    cdef pe_memory_stats s
    cdef size_t packed = packed_bytes()
    pe_memory_statistics(context, &s)
    return {"in_use": s.in_use, "cached": s.cached, "peak": s.peak, "cap": s.cap,
            "packed": packed, "allocations": s.allocations, "reuses": s.reuses, "system_calls": s.system_calls}


def set_memory_cap(cap):
    """Keeps at most `cap` bytes of freed memory for reuse."""
    if not hasattr(cap, "__index__"):
        raise TypeError(f"set_memory_cap: cap must be an integer, got {type(cap).__name__}")
    if cap < 0:
        raise ValueError(f"set_memory_cap: cap must not be negative, got {cap}")
    pe_set_memory_cap(context, cap)


def trim():
    """Gives all cached memory back to the system, packed weights too; returns how many bytes."""
    drop_all_packs()
    return pe_trim(context)
