// SPDX-License-Identifier: BSD-2-Clause
// COM1 by sys/dev/uart/uart_dev_ns8250.c.
#pragma once

#include <string_view>

namespace pvh::kernels::bsd::uart {

// ns8250_probe(), whose verdict is judged later, and ns8250_init() as for the console.
void start();
void print(std::string_view text);
// What ns8250_probe() said, and ns8250_bus_probe().
void judge_probes();

}  // namespace pvh::kernels::bsd::uart
