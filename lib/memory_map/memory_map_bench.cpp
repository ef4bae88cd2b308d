// SPDX-License-Identifier: BSD-2-Clause
// What a map costs to normalise: sorted as it mostly comes, shuffled, and with every entry
// overlapping its neighbours.
#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <pvh/memory_map/edit.hpp>
#include <pvh/memory_map/normalize.hpp>

namespace {

using namespace pvh;
using namespace pvh::memory_map;

std::vector<RawEntry> sorted(std::size_t count) {
  std::vector<RawEntry> map;
  for (std::uint64_t i = 0; i < count; ++i) {
    map.push_back({0x100000 + i * 0x4000, 0x3000, i % 4 == 0 ? 2u : 1u});
  }
  return map;
}

std::vector<RawEntry> shuffled(std::size_t count) {
  auto map = sorted(count);
  std::ranges::shuffle(map, std::mt19937_64(0xc0ffee));
  return map;
}

std::vector<RawEntry> overlapping(std::size_t count) {
  auto map = shuffled(count);
  for (RawEntry& entry : map) {
    entry.size = 0x20000;
  }
  return map;
}

void normalize_all(benchmark::State& state, std::vector<RawEntry> (*make)(std::size_t)) {
  const auto in = make(static_cast<std::size_t>(state.range(0)));
  std::vector<Entry> out(output_size(in.size()));
  std::vector<Scratch> scratch(scratch_size(in.size()));
  for (auto _ : state) {
    Report report;
    benchmark::DoNotOptimize(normalize(in, out, scratch, {}, report));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void subtract_all(benchmark::State& state) {
  const std::vector<Entry> map{
      {*base::Range::from_size(base::PhysAddr(0), base::ByteSize(1ull << 40)), Type::kRam}};
  std::vector<base::Range> taken;
  for (const RawEntry& entry : shuffled(static_cast<std::size_t>(state.range(0)))) {
    taken.push_back(
        *base::Range::from_size(base::PhysAddr(entry.addr), base::ByteSize(entry.size)));
  }
  std::vector<Entry> out(edit_output_size(map.size(), taken.size()));
  std::vector<Scratch> scratch(edit_scratch_size(map.size(), taken.size()));
  for (auto _ : state) {
    Report report;
    benchmark::DoNotOptimize(subtract(map, taken, out, scratch, {}, report));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->Arg(10)->Arg(128)->Arg(1000)->Arg(100000);
}

BENCHMARK_CAPTURE(normalize_all, sorted, sorted)->Apply(sizes);
BENCHMARK_CAPTURE(normalize_all, shuffled, shuffled)->Apply(sizes);
BENCHMARK_CAPTURE(normalize_all, overlapping, overlapping)->Apply(sizes);
BENCHMARK(subtract_all)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
