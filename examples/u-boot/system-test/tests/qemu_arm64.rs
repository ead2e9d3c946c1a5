//! The whole system with U-Boot on a 64-bit ARM machine; regions are PCI devices' memory.

mod scenario;

use u_boot_system_test::board::Board;

const BOARD: Board = Board::QemuArm64;
