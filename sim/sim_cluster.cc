// SPDX-License-Identifier: Apache-2.0
// sim_cluster: runs a scenario of the simulated cluster with one seed or many (sim/run_seeds.h).
#include "sim/scenarios/scenario.h"

int main(int argc, char** argv) { return testudo::sim::run_seeds(testudo::sim::scenarios(), argc, argv); }
