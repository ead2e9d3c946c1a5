//! The whole system with U-Boot as a process of this machine.

mod scenario;

use u_boot_system_test::board::Board;

const BOARD: Board = Board::Sandbox;
