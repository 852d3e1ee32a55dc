export { armPoints, crashPoints, type CrashPoint } from '../observe/point.ts';
export {
  effectsLiars,
  keyValueLiars,
  leaseLiars,
  ledgerLiars,
  logLiars,
  objectsLiars,
  scanLiars,
  sinkLiars,
  sourceLiars,
  type Liar,
} from './liars.ts';
