export { armPoints, crashPoints, type CrashPoint } from '../observe/point.ts';
