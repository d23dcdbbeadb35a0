#include "emulator/mutation.h"

#include <cstring>
#include <string>
#include <vector>

#include "dyn2trt/core.h"

namespace dyn2trt::emulator {
namespace {

// Launches hold the emulator's lock, and tests ask between launches.
struct Mutation {
  std::vector<Place> places;
  int without = -1;  // number in `places`
  std::string described;
};

Mutation& mutation() {
  static Mutation* const instance = new Mutation;
  return *instance;
}

bool same(const Place& a, const Place& b) {
  return a.line == b.line && std::strcmp(a.operation, b.operation) == 0 && std::strcmp(a.file, b.file) == 0;
}

}  // namespace

bool taken_out(const Place& place) {
  Mutation& m = mutation();
  for (std::size_t i = 0; i < m.places.size(); ++i) {
    if (same(m.places[i], place)) return static_cast<int>(i) == m.without;
  }
  m.places.push_back(place);
  return false;
}

}  // namespace dyn2trt::emulator

extern "C" {

// The points of synchronisation that launches have come by since forget_places, "operation file:line", one a line, in
// the order of their numbers. Valid until the next call.
DYN2TRT_API const char* dyn2trt_emulator_places() {
  auto& m = dyn2trt::emulator::mutation();
  m.described.clear();
  for (const auto& place : m.places) {
    m.described += std::string(place.operation) + ' ' + place.file + ':' + std::to_string(place.line) + '\n';
  }
  return m.described.c_str();
}

DYN2TRT_API void dyn2trt_emulator_forget_places() { dyn2trt::emulator::mutation().places.clear(); }

// Launches from now on leave out the point of that number; -1: none.
DYN2TRT_API void dyn2trt_emulator_take_out(int number) { dyn2trt::emulator::mutation().without = number; }
}
